// A Vulkan layer that makes an adapter pass for another: other limits, fewer features, another kind. `scripts/shader-check` puts
// it before Mesa's software Vulkan, and `scripts/shader-code`. Every call goes on to the driver; only what it says of itself is changed.
//
//   ADAPTER_KIND          1 integrated, 2 discrete, 4 software, as VkPhysicalDeviceType
//   ADAPTER_SHARED_BYTES  memory that a workgroup shares
//   ADAPTER_UNITS         invocations of a workgroup
//   ADAPTER_BUFFERS       storage buffers a shader stage
//   ADAPTER_RANGE         bytes of a storage buffer
//   ADAPTER_PLANE_MIN     smallest and largest subgroup; with either, every subgroup operation of WebGPU is claimed
//   ADAPTER_PLANE_MAX
//   ADAPTER_LACKS         any of int64, f16, atomics (of f32), separated by commas
//   ADAPTER_SHADERS       folder in which every shader is left, as SPIR-V, on its way to the driver
//
// A claim beyond what the driver has may end in whatever the driver then does: software Vulkan shares as much as it is asked for.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vulkan/vk_layer.h>
#include <vulkan/vulkan.h>

static PFN_vkGetInstanceProcAddr next_of_instance;
static PFN_vkGetDeviceProcAddr next_of_device;
static VkInstance the_instance;
static PFN_vkGetPhysicalDeviceProperties driver_properties;
static PFN_vkGetPhysicalDeviceProperties2 driver_properties2;
static PFN_vkGetPhysicalDeviceFeatures driver_features;
static PFN_vkGetPhysicalDeviceFeatures2 driver_features2;
static PFN_vkCreateShaderModule driver_shader_module;

/// What the environment says, or `own`.
static uint32_t claimed(const char *name, uint32_t own) {
    const char *value = getenv(name);
    return value ? (uint32_t)strtoul(value, NULL, 0) : own;
}

static int lacks(const char *feature) {
    const char *list = getenv("ADAPTER_LACKS");
    return list && strstr(list, feature);
}

static void change_properties(VkPhysicalDeviceProperties *p) {
    VkPhysicalDeviceLimits *limits = &p->limits;
    p->deviceType = (VkPhysicalDeviceType)claimed("ADAPTER_KIND", p->deviceType);
    limits->maxComputeSharedMemorySize = claimed("ADAPTER_SHARED_BYTES", limits->maxComputeSharedMemorySize);
    limits->maxComputeWorkGroupInvocations = claimed("ADAPTER_UNITS", limits->maxComputeWorkGroupInvocations);
    limits->maxPerStageDescriptorStorageBuffers =
        claimed("ADAPTER_BUFFERS", limits->maxPerStageDescriptorStorageBuffers);
    limits->maxStorageBufferRange = claimed("ADAPTER_RANGE", limits->maxStorageBufferRange);
}

static void change_planes(VkSubgroupFeatureFlags *operations, uint32_t *size) {
    if (!getenv("ADAPTER_PLANE_MIN") && !getenv("ADAPTER_PLANE_MAX")) return;
    *operations |= VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_VOTE_BIT | VK_SUBGROUP_FEATURE_ARITHMETIC_BIT |
                   VK_SUBGROUP_FEATURE_BALLOT_BIT | VK_SUBGROUP_FEATURE_SHUFFLE_BIT |
                   VK_SUBGROUP_FEATURE_SHUFFLE_RELATIVE_BIT | VK_SUBGROUP_FEATURE_QUAD_BIT;
    *size = claimed("ADAPTER_PLANE_MAX", *size);
}

static VKAPI_ATTR void VKAPI_CALL get_properties(VkPhysicalDevice device, VkPhysicalDeviceProperties *p) {
    driver_properties(device, p);
    change_properties(p);
}

static VKAPI_ATTR void VKAPI_CALL get_properties2(VkPhysicalDevice device, VkPhysicalDeviceProperties2 *p) {
    driver_properties2(device, p);
    change_properties(&p->properties);
    for (VkBaseOutStructure *next = p->pNext; next; next = next->pNext) {
        if (next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES) {
            VkPhysicalDeviceSubgroupProperties *planes = (void *)next;
            change_planes(&planes->supportedOperations, &planes->subgroupSize);
        } else if (next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES) {
            VkPhysicalDeviceVulkan11Properties *planes = (void *)next;
            change_planes(&planes->subgroupSupportedOperations, &planes->subgroupSize);
        } else if (next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES) {
            VkPhysicalDeviceSubgroupSizeControlProperties *sizes = (void *)next;
            sizes->minSubgroupSize = claimed("ADAPTER_PLANE_MIN", sizes->minSubgroupSize);
            sizes->maxSubgroupSize = claimed("ADAPTER_PLANE_MAX", sizes->maxSubgroupSize);
        }
    }
}

static VKAPI_ATTR void VKAPI_CALL get_features(VkPhysicalDevice device, VkPhysicalDeviceFeatures *f) {
    driver_features(device, f);
    if (lacks("int64")) f->shaderInt64 = VK_FALSE;
}

static VKAPI_ATTR void VKAPI_CALL get_features2(VkPhysicalDevice device, VkPhysicalDeviceFeatures2 *f) {
    driver_features2(device, f);
    if (lacks("int64")) f->features.shaderInt64 = VK_FALSE;
    for (VkBaseOutStructure *next = f->pNext; next; next = next->pNext) {
        if (next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES && lacks("f16")) {
            ((VkPhysicalDeviceShaderFloat16Int8Features *)next)->shaderFloat16 = VK_FALSE;
        } else if (next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_ATOMIC_FLOAT_FEATURES_EXT && lacks("atomics")) {
            ((VkPhysicalDeviceShaderAtomicFloatFeaturesEXT *)next)->shaderBufferFloat32Atomics = VK_FALSE;
            ((VkPhysicalDeviceShaderAtomicFloatFeaturesEXT *)next)->shaderBufferFloat32AtomicAdd = VK_FALSE;
        }
    }
}

static VKAPI_ATTR VkResult VKAPI_CALL create_instance(const VkInstanceCreateInfo *info,
                                                      const VkAllocationCallbacks *allocator, VkInstance *out) {
    VkLayerInstanceCreateInfo *link = (void *)info->pNext;
    while (link->sType != VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO || link->function != VK_LAYER_LINK_INFO)
        link = (void *)link->pNext;
    PFN_vkGetInstanceProcAddr next = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    next_of_instance = next;
    VkResult result = ((PFN_vkCreateInstance)next(NULL, "vkCreateInstance"))(info, allocator, out);
    if (result != VK_SUCCESS) return result;
    // Asked now: later the loader answers with this layer's own functions.
    the_instance = *out;
    driver_properties = (PFN_vkGetPhysicalDeviceProperties)next(*out, "vkGetPhysicalDeviceProperties");
    driver_properties2 = (PFN_vkGetPhysicalDeviceProperties2)next(*out, "vkGetPhysicalDeviceProperties2");
    driver_features = (PFN_vkGetPhysicalDeviceFeatures)next(*out, "vkGetPhysicalDeviceFeatures");
    driver_features2 = (PFN_vkGetPhysicalDeviceFeatures2)next(*out, "vkGetPhysicalDeviceFeatures2");
    return result;
}

static VKAPI_ATTR VkResult VKAPI_CALL create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo *info,
                                                    const VkAllocationCallbacks *allocator, VkDevice *out) {
    VkLayerDeviceCreateInfo *link = (void *)info->pNext;
    while (link->sType != VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO || link->function != VK_LAYER_LINK_INFO)
        link = (void *)link->pNext;
    PFN_vkGetInstanceProcAddr next = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    next_of_device = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    return ((PFN_vkCreateDevice)next(the_instance, "vkCreateDevice"))(physical, info, allocator, out);
}

static VKAPI_ATTR VkResult VKAPI_CALL create_shader_module(VkDevice device, const VkShaderModuleCreateInfo *info,
                                                           const VkAllocationCallbacks *allocator, VkShaderModule *out) {
    static int n_shader;
    const char *folder = getenv("ADAPTER_SHADERS");
    if (folder) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%d.spv", folder, __atomic_fetch_add(&n_shader, 1, __ATOMIC_RELAXED));
        FILE *file = fopen(path, "wb");
        if (!file || fwrite(info->pCode, 1, info->codeSize, file) != info->codeSize || fclose(file)) {
            perror(path);
            exit(1);
        }
    }
    return driver_shader_module(device, info, allocator, out);
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL of_device(VkDevice device, const char *name) {
    if (!strcmp(name, "vkGetDeviceProcAddr")) return (PFN_vkVoidFunction)of_device;
    if (!strcmp(name, "vkCreateShaderModule")) {
        driver_shader_module = (PFN_vkCreateShaderModule)next_of_device(device, name);
        return (PFN_vkVoidFunction)create_shader_module;
    }
    return next_of_device(device, name);
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL of_instance(VkInstance instance, const char *name) {
    static const struct {
        const char *name;
        PFN_vkVoidFunction function;
    } own[] = {
        {"vkCreateInstance", (PFN_vkVoidFunction)create_instance},
        {"vkCreateDevice", (PFN_vkVoidFunction)create_device},
        {"vkGetPhysicalDeviceProperties", (PFN_vkVoidFunction)get_properties},
        {"vkGetPhysicalDeviceProperties2", (PFN_vkVoidFunction)get_properties2},
        {"vkGetPhysicalDeviceProperties2KHR", (PFN_vkVoidFunction)get_properties2},
        {"vkGetPhysicalDeviceFeatures", (PFN_vkVoidFunction)get_features},
        {"vkGetPhysicalDeviceFeatures2", (PFN_vkVoidFunction)get_features2},
        {"vkGetPhysicalDeviceFeatures2KHR", (PFN_vkVoidFunction)get_features2},
        {"vkGetInstanceProcAddr", (PFN_vkVoidFunction)of_instance},
        {"vkGetDeviceProcAddr", (PFN_vkVoidFunction)of_device},
    };
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!strcmp(name, own[i].name)) return own[i].function;
    return next_of_instance ? next_of_instance(instance, name) : NULL;
}

__attribute__((visibility("default"))) VKAPI_ATTR VkResult VKAPI_CALL
vkNegotiateLoaderLayerInterfaceVersion(VkNegotiateLayerInterface *version) {
    version->loaderLayerInterfaceVersion = 2;
    version->pfnGetInstanceProcAddr = of_instance;
    version->pfnGetDeviceProcAddr = of_device;
    version->pfnGetPhysicalDeviceProcAddr = NULL;
    return VK_SUCCESS;
}

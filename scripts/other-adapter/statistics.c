// Compiles compute shaders with the first Vulkan driver and prints what its compiler says of each, without running any.
//
//   statistics SHADER.spv...
//
// A line for each shader: file, entry point, units of a subgroup, then the driver's statistics as name=value, separated by tabs.
// Those of wgpu itself, which have bindings in more than one set, are left out: their entry point is main.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vulkan/vulkan.h>

#define CHECK(call)                                             \
    do {                                                        \
        VkResult result = (call);                               \
        if (result < 0) {                                       \
            fprintf(stderr, "%s: VkResult %d\n", #call, result); \
            exit(1);                                            \
        }                                                       \
    } while (0)

enum { MOST_BINDINGS = 64, MOST_STATISTICS = 64 };
enum { OP_ENTRY_POINT = 15, OP_VARIABLE = 59, OP_DECORATE = 71, DECORATION_BINDING = 33, STORAGE_CLASS_UNIFORM = 2 };

/// What a pipeline needs to know of a shader.
typedef struct {
    uint32_t *words;
    size_t n_word;
    const char *entry;
    VkDescriptorSetLayoutBinding bindings[MOST_BINDINGS];
    uint32_t n_binding;
} Shader;

static Shader read_shader(const char *path) {
    Shader shader = {0};
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    fseek(file, 0, SEEK_END);
    shader.n_word = (size_t)ftell(file) / 4;
    rewind(file);
    shader.words = calloc(shader.n_word + 1, 4);
    if (fread(shader.words, 4, shader.n_word, file) != shader.n_word || shader.n_word < 5 || shader.words[0] != 0x07230203) {
        fprintf(stderr, "%s: not SPIR-V\n", path);
        exit(1);
    }
    fclose(file);
    // Binding of each variable, plus one.
    uint32_t *binding_of = calloc(shader.words[3], sizeof *binding_of);
    for (size_t at = 5; at < shader.n_word;) {
        const uint32_t *word = shader.words + at;
        uint32_t op = word[0] & 0xffff, len = word[0] >> 16;
        if (op == OP_ENTRY_POINT) shader.entry = (const char *)(word + 3);
        if (op == OP_DECORATE && word[2] == DECORATION_BINDING) binding_of[word[1]] = word[3] + 1;
        if (op == OP_VARIABLE && binding_of[word[2]] && shader.n_binding < MOST_BINDINGS) {
            shader.bindings[shader.n_binding++] = (VkDescriptorSetLayoutBinding){
                .binding = binding_of[word[2]] - 1,
                .descriptorType = word[3] == STORAGE_CLASS_UNIFORM ? VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER
                                                                   : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                .descriptorCount = 1,
                .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT,
            };
        }
        at += len ? len : shader.n_word;
    }
    free(binding_of);
    return shader;
}

/// A device of the first adapter with everything that its driver offers.
static VkDevice open_device(void) {
    VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .apiVersion = VK_API_VERSION_1_3};
    VkInstanceCreateInfo instance_info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, .pApplicationInfo = &application};
    VkInstance instance;
    CHECK(vkCreateInstance(&instance_info, NULL, &instance));
    uint32_t n_physical = 1;
    VkPhysicalDevice physical;
    CHECK(vkEnumeratePhysicalDevices(instance, &n_physical, &physical));
    if (!n_physical) {
        fprintf(stderr, "no adapter\n");
        exit(1);
    }
    VkPhysicalDeviceProperties properties;
    vkGetPhysicalDeviceProperties(physical, &properties);
    fprintf(stderr, "%s\n", properties.deviceName);

    VkPhysicalDeviceShaderAtomicFloatFeaturesEXT atomics = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_ATOMIC_FLOAT_FEATURES_EXT};
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executables = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR, .pNext = &atomics};
    VkPhysicalDeviceVulkan13Features v13 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES, .pNext = &executables};
    VkPhysicalDeviceVulkan12Features v12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, .pNext = &v13};
    VkPhysicalDeviceVulkan11Features v11 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES, .pNext = &v12};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &v11};
    vkGetPhysicalDeviceFeatures2(physical, &features);
    const char *extensions[] = {"VK_KHR_pipeline_executable_properties", "VK_EXT_shader_atomic_float"};
    float priority = 1;
    VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueCount = 1, .pQueuePriorities = &priority};
    VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                               .pNext = &features,
                               .queueCreateInfoCount = 1,
                               .pQueueCreateInfos = &queue,
                               .enabledExtensionCount = 2,
                               .ppEnabledExtensionNames = extensions};
    VkDevice device;
    CHECK(vkCreateDevice(physical, &info, NULL, &device));
    return device;
}

/// Pipeline, layouts and module stay: the process is short.
static VkPipeline compile(VkDevice device, const Shader *shader) {
    VkDescriptorSetLayoutCreateInfo set_info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                                                .bindingCount = shader->n_binding,
                                                .pBindings = shader->bindings};
    VkDescriptorSetLayout set;
    CHECK(vkCreateDescriptorSetLayout(device, &set_info, NULL, &set));
    VkPipelineLayoutCreateInfo layout_info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO, .setLayoutCount = 1, .pSetLayouts = &set};
    VkPipelineLayout layout;
    CHECK(vkCreatePipelineLayout(device, &layout_info, NULL, &layout));
    VkShaderModuleCreateInfo module_info = {
        .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, .codeSize = shader->n_word * 4, .pCode = shader->words};
    VkShaderModule module;
    CHECK(vkCreateShaderModule(device, &module_info, NULL, &module));
    VkComputePipelineCreateInfo info = {.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
                                        .flags = VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR,
                                        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                                                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                                                  .module = module,
                                                  .pName = shader->entry},
                                        .layout = layout};
    VkPipeline pipeline;
    CHECK(vkCreateComputePipelines(device, VK_NULL_HANDLE, 1, &info, NULL, &pipeline));
    return pipeline;
}

static void print_statistics(VkDevice device, VkPipeline pipeline) {
    PFN_vkGetPipelineExecutablePropertiesKHR get_properties =
        (PFN_vkGetPipelineExecutablePropertiesKHR)vkGetDeviceProcAddr(device, "vkGetPipelineExecutablePropertiesKHR");
    PFN_vkGetPipelineExecutableStatisticsKHR get_statistics =
        (PFN_vkGetPipelineExecutableStatisticsKHR)vkGetDeviceProcAddr(device, "vkGetPipelineExecutableStatisticsKHR");
    VkPipelineInfoKHR info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR, .pipeline = pipeline};
    uint32_t n = 1;
    VkPipelineExecutablePropertiesKHR properties = {.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR};
    CHECK(get_properties(device, &info, &n, &properties));
    printf("\t%u", properties.subgroupSize);
    VkPipelineExecutableStatisticKHR statistics[MOST_STATISTICS] = {0};
    for (n = 0; n < MOST_STATISTICS; n++) statistics[n].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
    VkPipelineExecutableInfoKHR executable = {.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR, .pipeline = pipeline};
    CHECK(get_statistics(device, &executable, &n, statistics));
    for (uint32_t i = 0; i < n; i++) {
        const VkPipelineExecutableStatisticValueKHR *value = &statistics[i].value;
        if (statistics[i].format == VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_FLOAT64_KHR)
            printf("\t%s=%g", statistics[i].name, value->f64);
        else
            printf("\t%s=%llu", statistics[i].name, (unsigned long long)value->u64);
    }
}

int main(int argc, char **argv) {
    VkDevice device = open_device();
    for (int i = 1; i < argc; i++) {
        Shader shader = read_shader(argv[i]);
        if (!strcmp(shader.entry, "main")) continue;
        VkPipeline pipeline = compile(device, &shader);
        printf("%s\t%s", argv[i], shader.entry);
        print_statistics(device, pipeline);
        putchar('\n');
        fflush(stdout);
    }
    return 0;
}
